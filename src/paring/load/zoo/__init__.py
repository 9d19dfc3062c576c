"""Reference edge networks, written from their papers in ordinary torch layers."""

from paring.core.registry import Registry

ZOO = Registry(
    "zoo model",
    {
        "ds_cnn": "paring.load.zoo.ds_cnn:ds_cnn",
        "mobilenet_v1": "paring.load.zoo.mobilenet_v1:mobilenet_v1",
        "mobilenet_v2": "paring.load.zoo.mobilenet_v2:mobilenet_v2",
        "resnet8": "paring.load.zoo.resnet_cifar:resnet8",
        "resnet20": "paring.load.zoo.resnet_cifar:resnet20",
        "resnet56": "paring.load.zoo.resnet_cifar:resnet56",
        "squeezenet1_1": "paring.load.zoo.squeezenet:squeezenet1_1",
    },
)
