"""Bundles: the folder that an app developer is handed; what goes in, how it is written, how it is looked at again."""
