"""Results of many clips as one data set, in the formats of annotation tools and training code."""
