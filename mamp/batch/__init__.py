"""Many clips: lists of clips with their masks, workers that share them, and an index of the results."""
