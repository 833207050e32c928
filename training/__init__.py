"""What a training needs beyond the network and its batches."""
