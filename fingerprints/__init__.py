"""What is known of models: names, tokenizers, accounting, markers, styles; pure data and pure functions."""
