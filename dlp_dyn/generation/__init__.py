"""Videos out of nothing: diffusion over the particles of short clips (DiffuseDDLP), which dynamics then carry on."""
