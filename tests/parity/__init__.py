"""The same networks in torch and Flax, and zennit's relevance of them."""
