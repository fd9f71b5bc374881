"""What `catdog sweep` starts from: presets and launchers, as Hydra reads them."""
