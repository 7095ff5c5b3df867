"""What others have made, read episode by episode and frame by frame: one file a format."""
