"""How particles move: models that give the next scene, and the rollout that unrolls them."""
