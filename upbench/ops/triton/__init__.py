"""The ops on CUDA as Triton kernels. Importing `register` imports Triton, which takes seconds."""
