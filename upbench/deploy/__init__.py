"""What an upsampler becomes in each runtime that ships it: converted, loaded, run and compared, in a process of its own."""
