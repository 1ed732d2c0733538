"""One run over one clip: from a clip and its input masks to a folder of results. No part of the paper."""
