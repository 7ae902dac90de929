"""The command line: `phasezoo`, with sub-commands from all three packages."""
