"""Contract suites that every new step, target and front door subclasses, and the small models they run on."""
