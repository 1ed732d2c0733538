"""The encoder (Table 1) and the Lab color space that it works in (Sec. 3.1): images in, one feature for every cell out."""
