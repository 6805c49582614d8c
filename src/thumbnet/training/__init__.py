"""From a data set to a model file. The only package that imports Keras, besides `export/keras.py`."""
