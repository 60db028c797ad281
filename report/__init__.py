"""The nightly report: what is told of a night, in which words, as a page, as an index of nights and for a terminal."""
