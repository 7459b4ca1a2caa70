"""Pages for people: of a report, and of the maps of a plan."""
