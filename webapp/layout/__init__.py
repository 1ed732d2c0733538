"""The page's sections and the wiring of their events."""
