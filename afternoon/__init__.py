"""A scripted afternoon of a lab: four machines, three people, and every decision of the queue told with its reason."""
