"""The outside judge: an etcd cluster that says who may be master, for sites whose hosts share no layer 2."""
