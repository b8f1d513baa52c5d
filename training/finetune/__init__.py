"""The paper's two stages (section 4): supervised fine-tuning and direct preference optimization of LoRA adapters."""
