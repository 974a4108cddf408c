"""The patient: MooseFS's files, its daemons, and what a live master says of itself."""
