"""What is different between two systems, whatever they were read from: configs, outputs, records of builds.

Pure: snapshots in, differences out. Whoever has a config, an output or a record makes a snapshot of it.
"""
