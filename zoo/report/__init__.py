"""What people look at: progress, tables on the terminal, figures."""
