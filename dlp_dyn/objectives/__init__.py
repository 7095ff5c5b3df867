"""What training minimises: an objective holds a model and gives unweighted terms; its updates name what each moves."""
