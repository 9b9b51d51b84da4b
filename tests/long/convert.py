"""Turns a GGUF file into a folder that transformers can serve. Run by the environment of requirements-transformers.lock:
`python convert.py WEIGHTS.gguf FOLDER`. The weights are those of the file, dequantised to float32: same model, other engine."""

import sys
from pathlib import Path


def main(gguf: Path, folder: Path) -> None:
    """Write config, weights and tokenizer with its chat template to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # Still marked as quantised, which cannot be saved, although its tensors no longer are: they go into a model without the mark.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
