"""A network's filters: how they are named, what they answer to, and what is left without them."""
