"""Fine-tunes LoRA adapters in the paper's two stages (section 4): on right calls (SFT), then on preferred ones (DPO).

A run is one YAML file (`config`), can be interrupted, and ends with an adapter that the service takes (`run`,
`adapter`). DPO's pairs are chosen from calls that the SFT model wrote (`sampling`, `pairs`, `pair_rows`).
"""
