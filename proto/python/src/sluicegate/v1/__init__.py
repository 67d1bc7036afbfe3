"""The messages and stubs of the contract, generated from ``sluicegate/v1/sensor_service.proto``.

``sensor_service_pb2`` has the messages, ``sensor_service_pb2_grpc`` the stub, for those who make calls of their own.
"""
