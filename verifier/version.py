"""Truename's own version, read by the package build, the reports and the command line."""

VERSION = "0.1.0"
