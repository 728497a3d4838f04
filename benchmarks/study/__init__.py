"""The study: does what the paper claims hold, at a size that two cores train in 20 minutes? See docs/study.md."""
