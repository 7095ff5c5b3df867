"""What people bring, tried by the hundred: is it read right, or refused in a line?"""
