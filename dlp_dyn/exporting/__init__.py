"""What a trained model gives to others: itself as a program, its particles as tracks, edited rollouts."""
