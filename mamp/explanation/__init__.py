"""Why a pixel got its label: the votes, the motion and the scores behind it, in numbers, words and a figure."""
