"""Tables made from records: what is compared, what a sweep found, what its axes do, what a host costs, what gates say."""
