package com.google.ai.edge.litert

import android.content.res.AssetManager

enum class Accelerator { NONE, CPU, GPU, NPU }

abstract class JniHandle : AutoCloseable {
    override fun close() = stubs.nothing()
}

class TensorBuffer : JniHandle() {
    fun writeInt(data: IntArray): Unit = stubs.nothing()

    fun writeFloat(data: FloatArray): Unit = stubs.nothing()

    fun writeInt8(data: ByteArray): Unit = stubs.nothing()

    fun readInt(): IntArray = stubs.nothing()

    fun readFloat(): FloatArray = stubs.nothing()

    fun readInt8(): ByteArray = stubs.nothing()
}

class CompiledModel private constructor() : JniHandle() {
    class Options(vararg val accelerators: Accelerator)

    fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer = stubs.nothing()

    fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer = stubs.nothing()

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null): Unit =
        stubs.nothing()

    companion object {
        @JvmStatic
        fun create(assetManager: AssetManager, assetName: String, options: Options): CompiledModel = stubs.nothing()
    }
}
