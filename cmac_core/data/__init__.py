"""Media in, clips out: packing, datasets, front ends and augmentation."""
