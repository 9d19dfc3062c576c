package org.pytorch.executorch

abstract class Tensor {
    open val dataAsByteArray: ByteArray get() = stubs.nothing()
    open val dataAsUnsignedByteArray: ByteArray get() = stubs.nothing()
    open val dataAsIntArray: IntArray get() = stubs.nothing()
    open val dataAsLongArray: LongArray get() = stubs.nothing()
    open val dataAsFloatArray: FloatArray get() = stubs.nothing()

    companion object {
        @JvmStatic fun fromBlob(data: ByteArray, shape: LongArray): Tensor = stubs.nothing()

        @JvmStatic fun fromBlobUnsigned(data: ByteArray, shape: LongArray): Tensor = stubs.nothing()

        @JvmStatic fun fromBlob(data: IntArray, shape: LongArray): Tensor = stubs.nothing()

        @JvmStatic fun fromBlob(data: LongArray, shape: LongArray): Tensor = stubs.nothing()

        @JvmStatic fun fromBlob(data: FloatArray, shape: LongArray): Tensor = stubs.nothing()
    }
}

class EValue {
    fun toTensor(): Tensor = stubs.nothing()

    companion object {
        @JvmStatic fun from(tensor: Tensor): EValue = stubs.nothing()
    }
}

class Module {
    fun forward(vararg inputs: EValue): Array<EValue> = stubs.nothing()

    fun destroy(): Unit = stubs.nothing()

    companion object {
        @JvmStatic fun load(modelPath: String?, loadMode: Int = 0, numThreads: Int = 0): Module = stubs.nothing()
    }
}
