"""What people type into a search for foods: 60 texts, with brands, other languages, unfinished words and errors."""

LIMIT = 20  # foods of a page
TEXTS = [
    # Generic foods.
    *("egg", "banana", "milk", "whole milk", "chicken breast", "rice cooked", "brown rice", "bread", "olive oil"),
    *("greek yogurt", "coffee", "boiled potato", "butter", "cheddar cheese", "tomato", "ground beef", "orange juice"),
    *("dark chocolate", "vanilla ice cream", "red wine"),
    # Frequent words and brands.
    *("chocolate", "milk chocolate", "solid milk chocolate", "fruit gummies", "sour cream chips", "herbal tea"),
    *("protein bar", "balsamic vinegar", "welch's fruit snacks", "madelaine chocolate", "lagg's tea", "slimfast"),
    *("lindt", "knorr bouillon", "peanut butter cookies", "the company", "healthy food brands", "apple cinnamon tea"),
    # Other languages.
    *("crème de marrons", "pâte à tartiner", "confiture de fraise", "pain de mie", "beurre", "poulet aux légumes"),
    # Unfinished words.
    *("choc", "strawb", "yog", "chick", "milk cho", "pea", "gin", "white br", "cheese sa"),
    # Errors.
    *("mozarella", "brocolli", "choclate milk", "potatoe", "cofee", "banan bread"),
    # Nothing has this word.
    "xylitolfreequark",
]
