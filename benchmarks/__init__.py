"""Speed against peers, run side by side on one machine."""
