"""Nodes that turn image trees and config into the sections of the root file system."""
