"""`solar plan`: layers, parameters, steps, memory, disk and hours, before a GPU is rented."""
