"""From a data set to a model file. Only this package and `export/keras.py` import Keras."""
