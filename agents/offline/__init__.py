"""Agents that learn from data alone: behaviour cloning, IQL, and flow matching over blocks of actions."""
