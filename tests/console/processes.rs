//! Real processes: the program as an operator starts, stops and kills it.
