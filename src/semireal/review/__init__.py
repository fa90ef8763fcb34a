"""The review page: `semireal review` shows the images of a stage and takes down what a person decides about them."""
