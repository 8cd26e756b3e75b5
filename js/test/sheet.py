"""Several pictures on one sheet: ``python js/test/sheet.py out name ...``."""

import sys
from pathlib import Path

from PIL import Image

OUT = Path(__file__).resolve().parents[2] / "build" / "harness"
images = [Image.open(OUT / f"{name}.png").convert("RGB") for name in sys.argv[2:]]
sheet = Image.new("RGB", (max(image.width for image in images), sum(image.height + 8 for image in images)), "gray")
top = 0
for image in images:
    sheet.paste(image, (0, top))
    top += image.height + 8
sheet.save(OUT / f"{sys.argv[1]}.png")
