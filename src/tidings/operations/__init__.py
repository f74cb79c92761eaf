"""What an operation is: its states, what may follow what, and its views. Pure."""
