"""Maps of where a network looks, and what they are held against."""
