NAMES_100G = ("protein_100g", "carbs_100g", "fat_100g", "sugars_100g", "saturated_fat_100g", "fiber_100g", "salt_100g")
