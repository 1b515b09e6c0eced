"""Reading datasets: one file per format, each with a function ``read`` whose keyword parameters are its options.

Import what you need from the files themselves (``labelwise.data.class_folders``); this page loads nothing.
"""
